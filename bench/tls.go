package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/slipwayhq/slipway/certs"
	"github.com/slipwayhq/slipway/dev/child"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/seal"
)

// The aims: no more CPU for a handshake than nginx, and a fifth of its memory.
const (
	aimHandshake = 1.0
	aimTLSMemory = 0.2
)

const (
	rowHandshake = "TLS 1.3 handshake: CPU"
	rowTLSMemory = "TLS certificates: memory"
	peerTLS      = "nginx, a server block each"
)

// tlsClients is how many handshakes are under way at once.
const tlsClients = 8

// tlsDirectory is an authority that nobody asks, tlsIssuer the folder in which
// certificate storage has what it gave.
const (
	tlsDirectory = "https://acme.invalid/directory"
	tlsIssuer    = "acme.invalid-directory"
)

// tlsRows serves many hosts over HTTPS, each with its own certificate, and counts
// what full handshakes cost. Ours are in PostgreSQL and come into memory when
// first asked for, before the measurement; nginx reads its own when it starts.
func tlsRows(ctx context.Context, b *bench) ([]row, error) {
	dir := filepath.Join(b.dir, "tls")
	names, err := issueAll(ctx, b, dir)
	if err != nil {
		return nil, err
	}
	ours, err := startTLS(ctx, b)
	if err != nil {
		return nil, err
	}
	defer ours.stop()
	nginx, err := startTLSNginx(ctx, dir, names)
	if err != nil {
		return nil, err
	}
	defer nginx.stop()

	cost := row{name: rowHandshake, peer: peerTLS, unit: micros, aim: aimHandshake}
	memory := row{name: rowTLSMemory, peer: peerTLS, unit: mebibytes, aim: aimTLSMemory,
		look: "  proportional set size of all processes, with every certificate used once"}
	for _, s := range []*server{ours, nginx} {
		if err := s.handshakes(ctx, names); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	for turn := range b.tlsPairs {
		var costs, sizes [2]float64
		// Other names in each turn.
		part := names[turn*b.handshakes%len(names):]
		part = part[:min(b.handshakes, len(part))]
		for i, s := range []*server{ours, nginx} {
			before, err := cpuTime(s.process.Pid())
			if err != nil {
				return nil, err
			}
			if err := s.handshakes(ctx, part); err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			after, err := cpuTime(s.process.Pid())
			if err != nil {
				return nil, err
			}
			costs[i] = max(after-before, tick).Seconds() * 1e6 / float64(len(part))
			if sizes[i], err = memoryOf(s.process.Pid()); err != nil {
				return nil, err
			}
		}
		cost.pairs = append(cost.pairs, pair{costs[0], costs[1]})
		memory.pairs = append(memory.pairs, pair{sizes[0], sizes[1]})
	}
	cost.look = "  both sign with P-256 and agree on X25519; what is left is crypto/tls against OpenSSL, and a connection each"
	return []row{cost, memory}, nil
}

// handshakes makes one full handshake for each name.
func (s *server) handshakes(ctx context.Context, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	for client := range tlsClients {
		group.Go(func() error {
			for i := client; i < len(names); i += tlsClients {
				if err := s.handshake(ctx, names[i]); err != nil {
					return fmt.Errorf("handshake for %s: %w", names[i], err)
				}
			}
			return nil
		})
	}
	return group.Wait()
}

func (s *server) handshake(ctx context.Context, name string) error {
	connection, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return err
	}
	client := tls.Client(connection, &tls.Config{
		ServerName: name, MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"},
		CurvePreferences:   []tls.CurveID{tls.X25519}, // OpenSSL 3.0 has no ML-KEM
		InsecureSkipVerify: true,                      //nolint:gosec // the name is compared below
	})
	defer client.Close()
	if err := client.HandshakeContext(ctx); err != nil {
		return err
	}
	if got := client.ConnectionState().PeerCertificates[0].DNSNames; len(got) != 1 || got[0] != name {
		return fmt.Errorf("it is served the certificate of %v", got)
	}
	return nil
}

// issueAll makes an authority and a certificate for each name, in files for nginx
// and sealed in the database for us.
func issueAll(ctx context.Context, b *bench, dir string) ([]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	key, err := seal.FromFile(filepath.Join(b.system.data, "secret.key"))
	if err != nil {
		return nil, err
	}
	store, err := models.OpenStore(models.StoreOptions{URL: b.system.postgresURL, MaxConns: 4})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	authority, err := newAuthority()
	if err != nil {
		return nil, err
	}
	names := make([]string, b.certificates)
	for i := range names {
		names[i] = fmt.Sprintf("shop-%05d.customers.example", i)
	}
	if err := b.system.activateDomains(ctx, names); err != nil {
		return nil, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i := range names {
		group.Go(func() error {
			chain, private, err := authority.issue(names[i], int64(i+2))
			if err != nil {
				return err
			}
			for path, content := range map[string][]byte{
				certmagic.StorageKeys.SiteCert(tlsIssuer, names[i]):       chain,
				certmagic.StorageKeys.SitePrivateKey(tlsIssuer, names[i]): private,
			} {
				if err := store.PutCertificateValue(ctx, path, key.Seal(content, certs.SealContext(path)), int64(len(content))); err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(dir, names[i]+filepath.Ext(path)), content, 0o600); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return names, group.Wait()
}

// activateDomains makes hosts the active domains of a project.
func (s *system) activateDomains(ctx context.Context, hosts []string) error {
	p, err := s.newProject(ctx, s.account, "bench-domains")
	if err != nil {
		return err
	}
	connection, err := pgx.Connect(ctx, s.postgresURL)
	if err != nil {
		return err
	}
	defer connection.Close(context.WithoutCancel(ctx))
	_, err = connection.Exec(ctx, `
		INSERT INTO domains (id, host, project_id, organization_id, status, token, verified_at, active_at)
		SELECT 'dom_' || md5(host), host, $2, $3, 'active', md5(host), now(), now() FROM unnest($1::text[]) AS host`,
		hosts, p.id, s.OrgID)
	return err
}

// authority signs with an intermediate certificate, as public ones do.
type authority struct {
	key          *ecdsa.PrivateKey
	intermediate *x509.Certificate
}

func newAuthority() (*authority, error) {
	root, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"Bench"}, CommonName: "B1"}, Issuer: pkix.Name{CommonName: "Bench root"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, root)
	if err != nil {
		return nil, err
	}
	intermediate, err := x509.ParseCertificate(der)
	return &authority{key, intermediate}, err
}

func (a *authority) issue(name string, serial int64) (chain, private []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 0, 90),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.intermediate, &key.PublicKey, a.key)
	if err != nil {
		return nil, nil, err
	}
	encoded, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	for _, der := range [][]byte{der, a.intermediate.Raw} {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return chain, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encoded}), nil
}

// startTLS starts the role with HTTPS.
func startTLS(ctx context.Context, b *bench) (*server, error) {
	plain, err := freeAddr()
	if err != nil {
		return nil, err
	}
	secure, err := freeAddr()
	if err != nil {
		return nil, err
	}
	home, err := b.system.ownFolder("https")
	if err != nil {
		return nil, err
	}
	return startServer(ctx, "the dispatcher", secure, secure, child.Options{
		Path: filepath.Join(b.system.bin, "slipway"), Args: []string{"dispatcher"},
		Env: b.system.environment("SLIPWAY_DATA_DIR="+home, "SLIPWAY_DISPATCHER_ADDR="+plain, "DISPATCH_TLS_ADDR="+secure, "ACME_DIRECTORY="+tlsDirectory),
	})
}

const tlsNginxHead = `daemon off;
worker_processes auto;
pid %[1]s/nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
	access_log off;
	server_names_hash_max_size 65536;
	server_names_hash_bucket_size 128;
	ssl_protocols TLSv1.2 TLSv1.3;
	ssl_session_cache none;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
`

const tlsNginxServer = `	server {
		listen %[1]s ssl;
		server_name %[2]s;
		ssl_certificate %[3]s/%[2]s.crt;
		ssl_certificate_key %[3]s/%[2]s.key;
		return 204;
	}
`

func startTLSNginx(ctx context.Context, dir string, names []string) (*server, error) {
	program, err := findProgram("nginx")
	if err != nil {
		return nil, errors.New("nginx is not installed: apt-get install nginx-light")
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	home := filepath.Join(dir, "nginx")
	if err := os.MkdirAll(home, 0o755); err != nil {
		return nil, err
	}
	var config bytes.Buffer
	fmt.Fprintf(&config, tlsNginxHead, home)
	for _, name := range names {
		fmt.Fprintf(&config, tlsNginxServer, addr, name, dir)
	}
	config.WriteString("}\n")
	file := filepath.Join(home, "nginx.conf")
	if err := os.WriteFile(file, config.Bytes(), 0o644); err != nil {
		return nil, err
	}
	return startServer(ctx, "nginx", addr, addr, child.Options{Path: program, Args: []string{"-p", home, "-e", "stderr", "-c", file}})
}

// memoryOf is the proportional set size of a process and its descendants, in MiB:
// pages they share count once.
func memoryOf(root int) (float64, error) {
	members, err := family(root)
	if err != nil {
		return 0, err
	}
	var kib float64
	for _, member := range members {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", member.pid))
		if err != nil {
			continue // it ended meanwhile
		}
		lines := bufio.NewScanner(bytes.NewReader(content))
		for lines.Scan() {
			if fields := bytes.Fields(lines.Bytes()); len(fields) >= 2 && string(fields[0]) == "Pss:" {
				size, err := strconv.ParseFloat(string(fields[1]), 64)
				if err != nil {
					return 0, err
				}
				kib += size
			}
		}
	}
	return kib / 1024, nil
}
