package main

import (
	"context"
	"errors"
	"fmt"
)

// localRunner runs a script on the machine of the engine.
func localRunner(
	ctx context.Context, verb, script string, c command, previous outputs,
) (outputs, error) {
	if err := missingStep(c); err != nil {
		return outputs{}, fmt.Errorf("%s failed: %w", verb, err)
	}
	interpreter := c.interpreter
	if len(interpreter) == 0 {
		interpreter = []string{"/bin/sh", "-c"}
	}
	args := append(append([]string{}, interpreter...), script)

	var env []string
	// The program's own variables come last: they win.
	for _, variables := range []map[string]string{previousOutput(ctx, c, previous), c.environment} {
		for name, value := range variables {
			env = append(env, name+"="+value)
		}
	}
	shown := newLogs(ctx, c.logging)
	defer shown.close()
	var printed capture
	err := process{
		args: args, dir: c.dir, env: env, stdin: c.stdin,
		stdout: printed.stdoutTo(shown.stdout), stderr: printed.stderrTo(shown.stderr),
	}.run(ctx)
	if errors.Is(err, errOutputHeld) {
		warnHeld(ctx)
		err = nil
	}
	if err != nil {
		return outputs{}, failure(verb, err, &printed)
	}
	return printed.outputs(), nil
}

func warnHeld(ctx context.Context) {
	warnf(ctx, "the command ended, and a process that it left in the background still holds its output: "+
		"went on after %s without the rest (redirect the output of background processes)", outputGrace)
}
