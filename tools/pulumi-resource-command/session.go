package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
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

// run sends the input, collects the output and returns when the command ended.
func (s *session) run(ctx context.Context, script string, stdin *string, stdout, stderr io.Writer) (held bool, err error) {
	if err := s.start(script); err != nil {
		return false, err
	}
	go func() {
		if stdin != nil {
			_, _ = io.Copy(s.channel, strings.NewReader(*stdin)) // the command need not read it
		}
		_ = s.channel.CloseWrite()
	}()
	copied := make(chan struct{}, 2)
	for to, from := range map[io.Writer]io.Reader{stdout: s.channel, stderr: s.channel.Stderr()} {
		go func() {
			_, _ = io.Copy(to, from)
			copied <- struct{}{}
		}()
	}
	select {
	case err = <-s.exit:
	case <-ctx.Done():
		s.interrupt()
		return false, context.Cause(ctx)
	}
	grace := time.After(outputGrace)
	for range 2 {
		select {
		case <-copied:
		case <-ctx.Done():
			return true, err
		case <-grace:
			return true, err
		}
	}
	return false, err
}

// interrupt ends the remote process: closing the connection would not.
func (s *session) interrupt() {
	for _, name := range []string{"TERM", "KILL"} {
		_, err := s.channel.SendRequest("signal", false, ssh.Marshal(struct{ Name string }{name}))
		if err != nil {
			return
		}
		select {
		case <-s.exit:
			return
		case <-time.After(killGrace):
		}
	}
}
