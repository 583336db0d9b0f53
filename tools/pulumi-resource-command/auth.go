package main

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// authMethods are tried in order: key, agent, password. close ends what they
// need while the handshake runs.
func (e endpoint) authMethods() (methods []ssh.AuthMethod, close func(), err error) {
	close = func() {}
	if e.privateKey != "" {
		signer, err := e.signer()
		if err != nil {
			return nil, close, err
		}
		methods = append(methods, ssh.PublicKeys(signer))
	}
	socket := e.agentSocket
	if socket == "" && e.privateKey == "" && e.password == "" {
		socket = os.Getenv("SSH_AUTH_SOCK")
	}
	if socket != "" {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			return nil, close, fmt.Errorf("connecting to the ssh agent: %w", err)
		}
		close = func() { _ = conn.Close() }
		methods = append(methods, ssh.PublicKeysCallback(agent.NewClient(conn).Signers))
	}
	if e.password != "" {
		methods = append(methods, ssh.Password(e.password), ssh.KeyboardInteractive(e.answer))
	}
	if len(methods) == 0 {
		return nil, close, errors.New("no way to log in: give private_key, password or agent_socket_path in the connection")
	}
	return methods, close, nil
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
