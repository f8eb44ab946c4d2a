"""The AMBIS contract; generated from the .proto files beside it."""
