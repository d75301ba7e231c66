"""The script that made the files here was for the code of that time."""

collect_ignore = ["make.py"]
