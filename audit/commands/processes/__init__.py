"""Where a command does its work: code of the user in processes of its own, engines, and runs that stop and go on."""
