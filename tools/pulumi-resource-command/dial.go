package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	firstPause = 200 * time.Millisecond
	longPause  = 5 * time.Second
)

// opener opens a plain connection to an address.
type opener func(ctx context.Context, address string) (net.Conn, error)

// dial logs in to the host, through its proxy if it has one.
func (c connection) dial(ctx context.Context) (*ssh.Client, error) {
	open := directly
	if c.proxy != nil {
		bastion, err := c.proxy.dial(ctx, directly)
		if err != nil {
			return nil, fmt.Errorf("proxy: %w", err)
		}
		open = func(ctx context.Context, address string) (net.Conn, error) {
			return bastion.DialContext(ctx, "tcp", address)
		}
		client, err := c.endpoint.dial(ctx, open)
		if err != nil {
			_ = bastion.Close()
			return nil, err
		}
		// The proxy's connection lives as long as the one inside it.
		go func() {
			_ = client.Wait()
			_ = bastion.Close()
		}()
		return client, nil
	}
	return c.endpoint.dial(ctx, open)
}

func directly(ctx context.Context, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

// dial tries until it is in, the errors reach their limit, or ctx ends.
func (e endpoint) dial(ctx context.Context, open opener) (*ssh.Client, error) {
	pause := firstPause
	var last error // the one before ctx ended tells more than its end does
	for failed := 1; ; failed++ {
		client, err := e.attempt(ctx, open)
		if last == nil || ctx.Err() == nil {
			last = err
		}
		switch {
		case err == nil:
			return client, nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("connecting to %s: %w (attempt %d: %w)", e.address(), context.Cause(ctx), failed, last)
		case errors.Is(err, errHostKey), e.dialErrorLimit >= 0 && failed >= e.dialErrorLimit:
			return nil, fmt.Errorf("connecting to %s, attempt %d: %w", e.address(), failed, err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(pause*3/2, longPause)
	}
}

// attempt is one dial and handshake, both within the dial timeout.
func (e endpoint) attempt(ctx context.Context, open opener) (*ssh.Client, error) {
	if e.dialTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, e.dialTimeout)
		defer cancel()
	}
	keys, err := parseHostKeys(e.hostKeys)
	if err != nil {
		return nil, fmt.Errorf("%w: hostKey %w", errHostKey, err)
	}
	auth, closeAuth, err := e.authMethods()
	if err != nil {
		return nil, err
	}
	defer closeAuth()
	conn, err := open(ctx, e.address())
	if err != nil {
		return nil, err
	}
	// The handshake knows no context: closing its connection ends it.
	unlink := context.AfterFunc(ctx, func() { _ = conn.Close() })
	inner, channels, requests, err := ssh.NewClientConn(conn, e.address(), &ssh.ClientConfig{
		User: e.user, Auth: auth,
		HostKeyCallback:   verifyHost(keys),
		HostKeyAlgorithms: hostKeyAlgorithms(keys),
	})
	if err != nil {
		unlink()
		_ = conn.Close()
		return nil, err
	}
	if !unlink() {
		_ = inner.Close()
		return nil, context.Cause(ctx)
	}
	return ssh.NewClient(inner, channels, requests), nil
}

func (e endpoint) address() string { return net.JoinHostPort(e.host, strconv.Itoa(e.port)) }
