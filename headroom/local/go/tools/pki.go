package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// request asks for one key pair. Without Authority it is an authority itself; with KeyOnly it is a bare signing key.
type request struct {
	Name          string   `json:"name"`
	Authority     string   `json:"authority"`
	CommonName    string   `json:"commonName"`
	Organizations []string `json:"organizations"`
	Addresses     []string `json:"addresses"`
	KeyOnly       bool     `json:"keyOnly"`
}

type pair struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// issue reads a list of requests, authorities first, and writes NAME.key and NAME.crt of each into the folder.
// A keyOnly request gets NAME.pub in place of NAME.crt. Keys are readable by their owner only.
func issue(source io.Reader, folder string) error {
	var requests []request
	if err := json.NewDecoder(source).Decode(&requests); err != nil {
		return err
	}
	issued := map[string]pair{}
	for number, wanted := range requests {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		private, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			return err
		}
		base := filepath.Join(folder, wanted.Name)
		if err := writePEM(base+".key", "EC PRIVATE KEY", private, 0o600); err != nil {
			return err
		}
		if wanted.KeyOnly {
			public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
			if err != nil {
				return err
			}
			if err := writePEM(base+".pub", "PUBLIC KEY", public, 0o644); err != nil {
				return err
			}
			continue
		}
		template := wanted.template(int64(number) + 1)
		parent := pair{template, key}
		if wanted.Authority != "" {
			parent = issued[wanted.Authority]
		}
		certificate, err := x509.CreateCertificate(rand.Reader, template, parent.certificate, &key.PublicKey, parent.key)
		if err != nil {
			return err
		}
		if err := writePEM(base+".crt", "CERTIFICATE", certificate, 0o644); err != nil {
			return err
		}
		parsed, err := x509.ParseCertificate(certificate)
		if err != nil {
			return err
		}
		issued[wanted.Name] = pair{parsed, key}
	}
	return nil
}

func (wanted request) template(serial int64) *x509.Certificate {
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano() + serial),
		Subject:      pkix.Name{CommonName: wanted.CommonName, Organization: wanted.Organizations},
		// A machine whose clock is set back a little after the start must not find its cluster locked.
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(10, 0, 0),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
	}
	if wanted.Authority == "" {
		template.IsCA = true
		template.KeyUsage |= x509.KeyUsageCertSign
		return template
	}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	for _, address := range wanted.Addresses {
		if ip := net.ParseIP(address); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, address)
		}
	}
	return template
}

func writePEM(path, kind string, content []byte, mode os.FileMode) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), mode)
}
