"""Certificates of many records: the work of the commands ``certify`` and ``calibrate``. An edge: it asks accounting."""
