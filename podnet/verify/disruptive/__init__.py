"""What can only be shown by changing hosts: run with `--disruptive` alone, and all is given back in the end."""
