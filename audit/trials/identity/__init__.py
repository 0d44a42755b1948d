"""What a run is: its plan, data, mechanism and code as plain data, so that another run is told apart."""
