"""The `walt` command. Knows the services only through `walt.contracts`; speaks AMQP only in `client`."""
