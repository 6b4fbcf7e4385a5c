"""The `walt` command. Knows the services only through `services.contracts`; speaks AMQP only in `client`."""
