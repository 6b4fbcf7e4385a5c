"""console@HOST: serial lines and shell sessions of one host, multiplexed over raw AMQP messages."""
