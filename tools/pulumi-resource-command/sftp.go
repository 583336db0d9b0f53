package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pkg/sftp"
)

// copyTo copies over SFTP. When the path is a folder already, the source goes
// into it under its own name.
func copyTo(ctx context.Context, to connection, what copySource) error {
	client, err := to.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	// SFTP knows no context: closing its connection ends it.
	unlink := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer unlink()
	remote, err := sftp.NewClient(client, sftp.UseConcurrentWrites(true))
	if err != nil {
		return fmt.Errorf("starting SFTP: %w", err)
	}
	defer remote.Close()
	if err := send(remote, what); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	return nil
}

func send(remote *sftp.Client, what copySource) error {
	target, err := targetPath(remote, what)
	if err != nil {
		return err
	}
	if what.text != nil {
		return sendFile(remote, strings.NewReader(*what.text), target)
	}
	info, err := os.Stat(what.local)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return sendLocalFile(remote, what.local, target)
	}
	return sendFolder(remote, what.local, target)
}

func targetPath(remote *sftp.Client, what copySource) (string, error) {
	info, err := remote.Stat(what.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return what.path, nil
	case err != nil:
		return "", err
	case !info.IsDir():
		return what.path, nil
	case what.text != nil:
		return "", fmt.Errorf("%s is a folder, and a text has no name to put into it: give the path of a file", what.path)
	}
	local, err := filepath.Abs(what.local)
	if err != nil {
		return "", err
	}
	return path.Join(what.path, filepath.Base(local)), nil
}

func sendFolder(remote *sftp.Client, from, to string) error {
	return filepath.WalkDir(from, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		target := path.Join(to, filepath.ToSlash(inside))
		info, err := os.Stat(name) // follows links
		if err != nil {
			return err
		}
		if info.IsDir() {
			if entry.Type()&fs.ModeSymlink != 0 {
				return fmt.Errorf("%s is a link to a folder, which is not followed", name)
			}
			return remote.MkdirAll(target)
		}
		return sendLocalFile(remote, name, target)
	})
}

func sendLocalFile(remote *sftp.Client, from, to string) error {
	file, err := os.Open(from)
	if err != nil {
		return err
	}
	defer file.Close()
	return sendFile(remote, file, to)
}

func sendFile(remote *sftp.Client, from io.Reader, to string) error {
	if err := remote.MkdirAll(path.Dir(to)); err != nil {
		return fmt.Errorf("making the folder %s: %w", path.Dir(to), err)
	}
	file, err := remote.Create(to)
	if err != nil {
		return err
	}
	_, err = file.ReadFrom(from)
	return errors.Join(err, file.Close())
}
