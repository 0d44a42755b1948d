"""Plan files: TOML, checked whole, then turned into the objects that an audit takes. An edge."""
