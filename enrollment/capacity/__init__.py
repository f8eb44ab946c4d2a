"""How much RAM, disk and time a deployment of some size takes, before there is one."""
