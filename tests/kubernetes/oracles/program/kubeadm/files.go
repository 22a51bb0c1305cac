package main

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/cert"
)

// files finds certificates, kubeconfigs and modes.
func files(root string, found facts) {
	authorities := map[string]*x509.Certificate{}
	for _, name := range []string{"ca", "etcd/ca", "front-proxy-ca"} {
		authorities[name] = read(must(os.ReadFile(filepath.Join(root, "etc/kubernetes/pki", name+".crt"))))
	}
	for _, folder := range []string{"etc/kubernetes/manifests", "etc/kubernetes/pki", "var/lib/kubelet/pki"} {
		folder = filepath.Join(root, folder)
		if _, err := os.Stat(folder); err == nil {
			check(filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
				if err == nil && entry.Type().IsRegular() {
					file(root, path, authorities, found)
				}
				return err
			}))
		}
	}
	for _, path := range must(filepath.Glob(filepath.Join(root, "etc/kubernetes/*.conf"))) {
		file(root, path, authorities, found)
	}
	file(root, filepath.Join(root, kubeletFile), authorities, found)
}

func file(root, path string, authorities map[string]*x509.Certificate, found facts) {
	name := strings.TrimPrefix(strings.TrimPrefix(path, root), "/etc/kubernetes/")
	add := func(field, value string) { found.add(name, field, value) }
	add("mode", fmt.Sprintf("%04o", must(os.Stat(path)).Mode().Perm()))
	switch text := must(os.ReadFile(path)); filepath.Ext(path) {
	case ".crt":
		certificate(read(text), authorities, add)
	case ".conf":
		caller(must(clientcmd.Load(text)), authorities, add)
	}
}

func read(text []byte) *x509.Certificate {
	all := must(cert.ParseCertsPEM(text))
	if len(all) != 1 {
		fail(fmt.Errorf("%d certificates in one file", len(all)))
	}
	return all[0]
}

func caller(config *clientcmdapi.Config, authorities map[string]*x509.Certificate, add func(string, string)) {
	context := config.Contexts[config.CurrentContext]
	add("server", config.Clusters[context.Cluster].Server)
	add("user", context.AuthInfo)
	certificate(read(config.AuthInfos[context.AuthInfo].ClientCertificateData), authorities, add)
}

func certificate(found *x509.Certificate, authorities map[string]*x509.Certificate, add func(string, string)) {
	add("CN", found.Subject.CommonName)
	if len(found.Subject.Organization) > 0 {
		add("O", strings.Join(found.Subject.Organization, ","))
	}
	for name, authority := range authorities {
		if found.CheckSignatureFrom(authority) == nil {
			add("issuer", name)
		}
	}
	add("authority", fmt.Sprint(found.IsCA))
	add("key", keyKind(found))
	add("key usage", keyUsages(found.KeyUsage))
	add("used as", purposes(found.ExtKeyUsage))
	for _, name := range found.DNSNames {
		add("SAN "+name, "yes")
	}
	for _, address := range found.IPAddresses {
		add("SAN "+address.String(), "yes")
	}
	// Whole years: both begin some minutes or hours in the past.
	add("years", fmt.Sprintf("%.0f", found.NotAfter.Sub(found.NotBefore).Hours()/24/365.25))
}

func keyKind(found *x509.Certificate) string {
	switch key := found.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Params().Name
	default:
		return fmt.Sprintf("%T", key)
	}
}

func keyUsages(usage x509.KeyUsage) string {
	words := []string{}
	for bit, word := range []string{
		"digitalSignature", "contentCommitment", "keyEncipherment", "dataEncipherment", "keyAgreement", "keyCertSign", "cRLSign",
	} {
		if usage&(1<<bit) != 0 {
			words = append(words, word)
		}
	}
	return strings.Join(words, ",")
}

func purposes(usages []x509.ExtKeyUsage) string {
	words := []string{}
	for _, usage := range usages {
		switch usage {
		case x509.ExtKeyUsageServerAuth:
			words = append(words, "server")
		case x509.ExtKeyUsageClientAuth:
			words = append(words, "client")
		default:
			words = append(words, "other")
		}
	}
	sort.Strings(words)
	return strings.Join(words, ",")
}
