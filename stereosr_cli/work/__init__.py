"""What the commands do, behind their options: modules with ordinary imports."""
