"""One module a subcommand, each with `main(arguments) -> exit code`, imported only when it is called."""
