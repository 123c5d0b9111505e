package mail

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/mail"
	"os"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"
)

// files writes letters into a folder, for a machine that sends none: each as an
// .eml file that mail programs open. The folder holds links that sign people in,
// so it is its owner's alone.
type files struct {
	dir  string
	from *mail.Address
	log  logrus.FieldLogger
}

// Send implements Sender.
func (f *files) Send(_ context.Context, m Message) error {
	if err := m.check(); err != nil {
		return err
	}
	letter, err := compose(f.from, m)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("write a letter: %w", err)
	}
	var random [4]byte
	_, _ = rand.Read(random[:])
	name := filepath.Join(f.dir, time.Now().UTC().Format("20060102T150405.000")+"-"+hex.EncodeToString(random[:])+".eml")
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write a letter: %w", err)
	}
	defer file.Close()
	if _, err := letter.WriteTo(file); err != nil {
		return fmt.Errorf("write a letter: %w", err)
	}
	f.log.WithFields(logrus.Fields{"to": m.To, "subject": m.Subject, "file": name}).Info("a letter was written to a file, as no mail server is set")
	return file.Close()
}
