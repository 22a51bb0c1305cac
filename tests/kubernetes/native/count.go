package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	pause   = 100 * time.Millisecond
	slow    = time.Second
	patient = 60 * time.Second
)

// tally is the account of one kind of request.
type tally struct {
	name                   string
	asked, refused, slow   int
	gap                    time.Duration
	gapAt, first, lastGood time.Time
	lastBad                time.Time
	why                    string
}

// count asks the API, one request of each kind after the other, until it is interrupted: reads by new connections, as somebody comes
// who was not there before, reads and writes by a connection that stays.
func count(arguments []string) {
	if len(arguments) != 2 {
		fail("%s", usage)
	}
	server, fresh := clientOf(arguments[0])
	_, kept := clientOf(arguments[0])
	fresh.Transport.(*http.Transport).DisableKeepAlives = true
	configMap := server + "/api/v1/namespaces/default/configmaps/kbake-count"
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	body := func(number int) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"kbake-count"},"data":{"number":"%d"}}`, number)
	}
	kinds := []struct {
		tally *tally
		ask   func(context.Context, int) error
	}{
		{&tally{name: "reads by new connections"}, func(c context.Context, _ int) error {
			return ask(c, fresh, http.MethodGet, server+"/api/v1/namespaces/kube-system", "", "")
		}},
		{&tally{name: "reads"}, func(c context.Context, _ int) error {
			return ask(c, kept, http.MethodGet, server+"/api/v1/namespaces/kube-system", "", "")
		}},
		{&tally{name: "writes"}, func(c context.Context, number int) error {
			return ask(c, kept, http.MethodPatch, configMap+"?fieldManager=count&force=true", "application/apply-patch+yaml", body(number))
		}},
	}
	var loops sync.WaitGroup
	for _, kind := range kinds {
		loops.Go(func() {
			for number := 0; stop.Err() == nil; number++ {
				kind.tally.add(time.Now(), kind.ask(stop, number), stop.Err() != nil)
				time.Sleep(pause)
			}
		})
	}
	loops.Wait()
	var text strings.Builder
	for _, kind := range kinds {
		text.WriteString(kind.tally.String())
	}
	check(os.WriteFile(arguments[1], []byte(text.String()), 0o644), "writing the account")
}

// add enters a request that began at `begun` and has just ended.
func (t *tally) add(begun time.Time, err error, over bool) {
	now := time.Now()
	if t.first.IsZero() {
		t.first, t.lastGood = begun, begun
	}
	// What was in flight at the end counts by its gap alone.
	if gap := now.Sub(t.lastGood); (err == nil || over) && gap > t.gap {
		t.gap, t.gapAt = gap, t.lastGood
	}
	if over {
		return
	}
	t.asked++
	if err != nil {
		t.refused++
		t.lastBad, t.why = now, err.Error()
		return
	}
	t.lastGood = now
	if now.Sub(begun) > slow {
		t.slow++
	}
}

func (t *tally) String() string {
	text := fmt.Sprintf("%-25s %5d asked, %3d refused, %2d took more than 1 s, longest without an answer %.1f s",
		t.name, t.asked, t.refused, t.slow, t.gap.Seconds())
	if t.refused > 0 {
		text += fmt.Sprintf("; the last one refused after %.1f s: %s", t.lastBad.Sub(t.first).Seconds(), t.why)
	}
	return text + "\n"
}

func ask(stop context.Context, client *http.Client, method, url, kind, body string) error {
	request, err := http.NewRequestWithContext(stop, method, url, bytes.NewReader([]byte(body)))
	check(err, "asking")
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= 300 {
		err = fmt.Errorf("%s: %.200s", response.Status, text)
	}
	return err
}

// clientOf reads a kubeconfig with certificates in it.
func clientOf(path string) (string, *http.Client) {
	var config struct {
		Clusters []struct {
			Cluster struct {
				Server    string `yaml:"server"`
				Authority string `yaml:"certificate-authority-data"`
			} `yaml:"cluster"`
		} `yaml:"clusters"`
		Users []struct {
			User struct {
				Certificate string `yaml:"client-certificate-data"`
				Key         string `yaml:"client-key-data"`
			} `yaml:"user"`
		} `yaml:"users"`
	}
	text, err := os.ReadFile(path)
	check(err, "reading the kubeconfig")
	check(yaml.Unmarshal(text, &config), "reading the kubeconfig")
	if len(config.Clusters) != 1 || len(config.Users) != 1 {
		fail("%s has not one cluster and one user", path)
	}
	decode := func(text string) []byte {
		bytes, err := base64.StdEncoding.DecodeString(text)
		check(err, "reading the kubeconfig")
		return bytes
	}
	pair, err := tls.X509KeyPair(decode(config.Users[0].User.Certificate), decode(config.Users[0].User.Key))
	check(err, "reading the kubeconfig's certificate")
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(decode(config.Clusters[0].Cluster.Authority))
	transport := &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: authorities}}
	return config.Clusters[0].Cluster.Server, &http.Client{Transport: transport, Timeout: patient}
}
