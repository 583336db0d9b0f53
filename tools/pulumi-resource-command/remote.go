package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// remoteRunner runs a script on a remote host, in the login shell of the user.
func remoteRunner(
	ctx context.Context, verb, script string, c command, previous outputs,
) (outputs, error) {
	client, err := c.connection.dial(ctx)
	if err != nil {
		return outputs{}, err
	}
	defer client.Close()
	done := make(chan struct{})
	defer close(done)
	go keepalive(client, done)

	s, err := openSession(client)
	if err != nil {
		return outputs{}, err
	}
	defer s.channel.Close()
	if err := setVariables(ctx, s, c, previous); err != nil {
		return outputs{}, err
	}
	shown := newLogs(ctx, c.logging)
	defer shown.close()
	var printed capture
	held, err := s.run(ctx, script, c.stdin,
		printed.stdoutTo(shown.stdout), printed.stderrTo(shown.stderr),
		func() { endRemote(client, s) })
	if err != nil {
		return outputs{}, failure(verb, err, &printed)
	}
	if held {
		warnHeld(ctx)
	}
	return printed.outputs(), nil
}

func setVariables(ctx context.Context, s *session, c command, previous outputs) error {
	var refused []string
	for name, value := range previousOutput(ctx, c, previous) {
		if !s.setenv(name, value) {
			refused = append(refused, name)
		}
	}
	if len(refused) > 0 {
		warnf(ctx, "the server does not accept %s (AcceptEnv): the command runs without; "+
			"add_previous_output_in_env=False ends this warning", strings.Join(refused, ", "))
	}
	for name, value := range c.environment {
		if !s.setenv(name, value) {
			return fmt.Errorf("setting %s: %w", name, errAcceptEnv)
		}
	}
	return nil
}

var errAcceptEnv = errors.New("the server refused the variable: allow it with AcceptEnv in its " +
	"configuration, or write the variable in front of the command: NAME=value command")
