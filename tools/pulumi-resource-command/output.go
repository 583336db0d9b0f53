package main

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// outputs are what a command printed, as they go into the state.
type outputs struct {
	stdout, stderr string
}

// capture collects the two streams of a command, and both in order of arrival
// for an error message.
type capture struct {
	mu       sync.Mutex
	stdout   bytes.Buffer
	stderr   bytes.Buffer
	combined tail
}

func (c *capture) stdoutTo(log io.Writer) io.Writer { return &stream{c, &c.stdout, log} }
func (c *capture) stderrTo(log io.Writer) io.Writer { return &stream{c, &c.stderr, log} }

func (c *capture) outputs() outputs {
	c.mu.Lock()
	defer c.mu.Unlock()
	return outputs{stdout: printable(c.stdout.Bytes()), stderr: printable(c.stderr.Bytes())}
}

// printable drops one trailing newline, and bytes that cannot cross gRPC.
func printable(b []byte) string {
	return strings.ToValidUTF8(strings.TrimSuffix(string(b), "\n"), "\uFFFD")
}

// stream is one stream of a command, also copied to a log if there is one.
type stream struct {
	capture *capture
	buffer  *bytes.Buffer
	log     io.Writer
}

func (s *stream) Write(b []byte) (int, error) {
	s.capture.mu.Lock()
	s.buffer.Write(b)
	s.capture.combined.Write(b)
	s.capture.mu.Unlock()
	if s.log != nil {
		_, _ = s.log.Write(b)
	}
	return len(b), nil
}
