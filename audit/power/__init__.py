"""What an audit will be able to see, forecast before its first trial."""
