package main

import "context"

// Linux refuses to start a program with a longer variable.
const variableLimit = 128<<10 - 1

// previousOutput names what the command printed before, for its next run. The
// first run has none.
func previousOutput(ctx context.Context, c command, previous outputs) map[string]string {
	variables := map[string]string{}
	if !c.previousEnv {
		return variables
	}
	for name, text := range map[string]string{
		"PULUMI_COMMAND_STDOUT": previous.stdout,
		"PULUMI_COMMAND_STDERR": previous.stderr,
	} {
		switch {
		case text == "":
		case len(name)+len("=")+len(text) > variableLimit:
			warnf(ctx, "%s is not set: the previous output of %d bytes does not fit a variable", name, len(text))
		default:
			variables[name] = text
		}
	}
	return variables
}
