package main

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// authMethods are keys, then the password. close ends what they need while the
// handshake runs.
func (e endpoint) authMethods() (methods []ssh.AuthMethod, close func(), err error) {
	close = func() {}
	var keys []func() ([]ssh.Signer, error)
	if e.privateKey != "" {
		signer, err := e.signer()
		if err != nil {
			return nil, close, err
		}
		keys = append(keys, func() ([]ssh.Signer, error) { return []ssh.Signer{signer}, nil })
	}
	if socket := e.agent(); socket != "" {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			return nil, close, fmt.Errorf("connecting to the ssh agent: %w", err)
		}
		close = func() { _ = conn.Close() }
		keys = append(keys, agent.NewClient(conn).Signers)
	}
	if len(keys) > 0 {
		methods = append(methods, ssh.PublicKeysCallback(allOf(keys)))
	}
	if e.password != "" {
		methods = append(methods, ssh.Password(e.password), ssh.KeyboardInteractive(e.answer))
	}
	if len(methods) == 0 {
		return nil, close, errors.New("no way to log in: give private_key, password or agent_socket_path in the connection")
	}
	return methods, close, nil
}

// agent is the agent's socket: the user's own one only if there is no other
// way to log in, since servers count every key that an agent offers.
func (e endpoint) agent() string {
	if e.agentSocket == "" && e.privateKey == "" && e.password == "" {
		return os.Getenv("SSH_AUTH_SOCK")
	}
	return e.agentSocket
}

// allOf joins sources of keys: the library tries one public key method only.
func allOf(sources []func() ([]ssh.Signer, error)) func() ([]ssh.Signer, error) {
	return func() ([]ssh.Signer, error) {
		var signers []ssh.Signer
		for _, source := range sources {
			more, err := source()
			if err != nil {
				return nil, err
			}
			signers = append(signers, more...)
		}
		return signers, nil
	}
}

func (e endpoint) signer() (ssh.Signer, error) {
	var signer ssh.Signer
	var err error
	if e.privateKeyPassword != "" {
		signer, err = ssh.ParsePrivateKeyWithPassphrase([]byte(e.privateKey), []byte(e.privateKeyPassword))
	} else {
		signer, err = ssh.ParsePrivateKey([]byte(e.privateKey))
	}
	if err != nil {
		return nil, fmt.Errorf("reading the private key: %w", err)
	}
	return signer, nil
}

// answer gives the password to servers that ask for it in a dialogue.
func (e endpoint) answer(_, _ string, questions []string, _ []bool) ([]string, error) {
	answers := make([]string, len(questions))
	for i := range answers {
		answers[i] = e.password
	}
	return answers, nil
}
