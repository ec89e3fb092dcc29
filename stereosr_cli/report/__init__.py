"""What ``stereosr bench`` shows: tables, plots and a page."""
