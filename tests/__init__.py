from shared import modules

modules.load()  # every test, benchmark and attack process imports this package first
