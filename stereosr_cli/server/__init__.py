"""``stereosr serve``: jobs, the HTTP application around them, and a page."""
