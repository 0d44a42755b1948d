"""What a report is filed with: the case that it is for, and a list of every file with its digest."""
