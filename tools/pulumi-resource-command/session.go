package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

var errConnectionLost = errors.New("the connection was lost before the command ended")

// remoteExit is how a remote command ended, other than well.
type remoteExit struct {
	status int
	signal string
}

func (e remoteExit) Error() string {
	if e.signal != "" {
		return "the remote command was ended by signal " + e.signal
	}
	return fmt.Sprintf("exit status %d", e.status)
}

// session runs one command on a channel of its own. The library's sessions
// tell of the exit only when the output has ended too, so a background
// process could hold them for ever.
type session struct {
	channel ssh.Channel
	exit    chan error // one value: how the command ended
}

func openSession(client *ssh.Client) (*session, error) {
	channel, requests, err := client.OpenChannel("session", nil)
	if err != nil {
		return nil, fmt.Errorf("opening a session: %w", err)
	}
	s := &session{channel: channel, exit: make(chan error, 1)}
	go s.listen(requests)
	return s, nil
}

func (s *session) listen(requests <-chan *ssh.Request) {
	ended := errConnectionLost
	for request := range requests {
		switch request.Type {
		case "exit-status":
			var message struct{ Status uint32 }
			if ssh.Unmarshal(request.Payload, &message) == nil {
				ended = nil
				if message.Status != 0 {
					ended = remoteExit{status: int(message.Status)}
				}
				s.tell(ended)
			}
		case "exit-signal":
			var message struct {
				Signal     string
				CoreDumped bool
				Error      string
				Language   string
			}
			if ssh.Unmarshal(request.Payload, &message) == nil {
				ended = remoteExit{signal: message.Signal}
				s.tell(ended)
			}
		}
		if request.WantReply {
			_ = request.Reply(false, nil)
		}
	}
	s.tell(ended)
}

func (s *session) tell(ended error) {
	select {
	case s.exit <- ended:
	default: // the first word counts
	}
}

// setenv asks for a variable; stock servers refuse most of them.
func (s *session) setenv(name, value string) bool {
	payload := ssh.Marshal(struct{ Name, Value string }{name, value})
	ok, err := s.channel.SendRequest("env", true, payload)
	return ok && err == nil
}

func (s *session) start(script string) error {
	ok, err := s.channel.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{script}))
	if err == nil && !ok {
		err = errors.New("the server refused to run a command")
	}
	return err
}

// run sends the input, collects the output and returns when the command ended;
// end is how to end it when ctx does. held tells that the output went on.
func (s *session) run(
	ctx context.Context, script string, stdin *string, stdout, stderr io.Writer, end func(),
) (held bool, err error) {
	if err := s.start(script); err != nil {
		return false, err
	}
	go func() {
		if stdin != nil {
			_, _ = io.Copy(s.channel, strings.NewReader(*stdin)) // the command need not read it
		}
		_ = s.channel.CloseWrite()
	}()
	var copies sync.WaitGroup
	copies.Go(func() { _, _ = io.Copy(stdout, s.channel) })
	copies.Go(func() { _, _ = io.Copy(stderr, s.channel.Stderr()) })
	copied := make(chan struct{})
	go func() {
		copies.Wait()
		close(copied)
	}()
	select {
	case err = <-s.exit:
	case <-ctx.Done():
		end()
		return false, context.Cause(ctx)
	}
	select {
	case <-copied:
		return false, err
	case <-time.After(outputGrace):
	case <-ctx.Done():
	}
	return true, err
}

// signal is what the protocol offers; servers may refuse it.
func (s *session) signal(name string) {
	_, _ = s.channel.SendRequest("signal", false, ssh.Marshal(struct{ Name string }{name}))
}
