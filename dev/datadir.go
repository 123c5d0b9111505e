package dev

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Credentials is what .slipway/credentials.json holds: all that a client on
// this machine needs.
type Credentials struct {
	APIURL          string `json:"apiUrl"`
	DispatcherURL   string `json:"dispatcherUrl"`
	TemporalAddress string `json:"temporalAddress"`
	TemporalUIURL   string `json:"temporalUiUrl"`
	OrgID           string `json:"orgId"`
	UserID          string `json:"userId"`
	Token           string `json:"token"`
	// Email and Password are what the owner signs in with at <APIURL>/app.
	Email    string `json:"email,omitempty"`
	Password string `json:"password,omitempty"`
}

// claimDataDir makes the folder and takes its lock, which the kernel gives back
// when this process ends, however it ends.
func (h *house) claimDataDir() error {
	dir, err := filepath.Abs(h.opts.DataDir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	if h.env.DataDir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock the data folder: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer func() { _ = lock.Close() }()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("lock the data folder: %w", err)
		}
		return fmt.Errorf("slipway dev is already running on %s%s: stop it with Ctrl-C, or set SLIPWAY_DATA_DIR to another folder",
			dir, holder(lock))
	}
	h.lock = lock
	if err := lock.Truncate(0); err != nil {
		return fmt.Errorf("lock the data folder: %w", err)
	}
	if _, err := lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return fmt.Errorf("lock the data folder: %w", err)
	}
	return nil
}

// holder names the process that has the lock, as far as it has said so.
func holder(lock *os.File) string {
	content := make([]byte, 20)
	n, _ := lock.ReadAt(content, 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(content[:n])))
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (process %d)", pid)
}

// readCredentials reads what an earlier start left; nothing is no error.
func readCredentials(path string) (Credentials, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Credentials{}, nil
	}
	if err != nil {
		return Credentials{}, fmt.Errorf("read the credentials: %w", err)
	}
	var c Credentials
	if err := json.Unmarshal(raw, &c); err != nil {
		return Credentials{}, fmt.Errorf("%s is damaged; remove it to get a new token: %w", path, err)
	}
	return c, nil
}

// writeCredentials replaces the file in one step: a reader sees the old or the new one.
func writeCredentials(path string, c Credentials) error {
	raw, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	fresh, err := os.CreateTemp(filepath.Dir(path), ".credentials-") // made with mode 0600
	if err != nil {
		return fmt.Errorf("write the credentials: %w", err)
	}
	_, err = fresh.Write(append(raw, '\n'))
	if err := errors.Join(err, fresh.Sync(), fresh.Close()); err != nil {
		_ = os.Remove(fresh.Name())
		return fmt.Errorf("write the credentials: %w", err)
	}
	if err := os.Rename(fresh.Name(), path); err != nil {
		return fmt.Errorf("write the credentials: %w", err)
	}
	return nil
}
