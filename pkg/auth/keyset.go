package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/config"
)

// Config is how a process knows its callers, and itself.
type Config struct {
	// KeysFile has the stored keys.
	KeysFile string `env:"HOLDFAST_API_KEYS_FILE" doc:"YAML file with the API keys, hashed; read again when it changes. Required in production"`
	// ServiceToken is what this process shows to other services.
	ServiceToken string `env:"HOLDFAST_SERVICE_TOKEN" secret:"true" doc:"API key that this process shows to other services; in development there is one"`
}

// Verifier tells who a token belongs to.
type Verifier interface {
	// Verify returns the token's principal, or an error with the reason
	// CREDENTIALS_INVALID.
	Verify(ctx context.Context, token string) (Principal, error)
}

// KeySet verifies tokens against the key file, which it reads again when it
// changes. A file that cannot be read keeps what was there.
type KeySet struct {
	file        string
	environment config.Environment
	log         *slog.Logger

	keys    atomic.Pointer[map[string]entry]
	checked atomic.Int64 // when the file was last looked at, in Unix nanoseconds
	reading sync.Mutex
	version string // what the file looked like when it was last read
}

// recheck is how often the file is looked at, at most.
const recheck = time.Second

// NewKeySet reads the key file. In development the development keys work too;
// in production a development key anywhere in the configuration is an error.
func NewKeySet(cfg Config, environment config.Environment, log *slog.Logger) (*KeySet, error) {
	s := &KeySet{file: cfg.KeysFile, environment: environment, log: log}
	if environment != config.Development {
		if isDevelopmentToken(cfg.ServiceToken) {
			return nil, errors.New("HOLDFAST_SERVICE_TOKEN is a development key, which everybody knows: make one with `holdfast key new`")
		}
		if cfg.KeysFile == "" {
			return nil, errors.New("HOLDFAST_API_KEYS_FILE is not set: nobody could call")
		}
	}
	if err := s.read(); err != nil {
		return nil, err
	}
	return s, nil
}

// Token is the credential that this process shows to others: the configured
// one, or the development key in development.
func (c Config) Token(environment config.Environment) string {
	if c.ServiceToken == "" && environment == config.Development {
		return DevelopmentServiceKey
	}
	return c.ServiceToken
}

var errInvalid = apierror.New(apierror.ReasonCredentialsInvalid, "the API key is not valid")

// unknown is compared with when there is no such key, so that a wrong id takes
// as long as a wrong secret.
var unknown = entry{}

// Verify implements [Verifier].
func (s *KeySet) Verify(_ context.Context, token string) (Principal, error) {
	s.reload()
	id, secret, ok := splitToken(token)
	if !ok {
		return Principal{}, errInvalid
	}
	e, found := (*s.keys.Load())[id]
	if !found {
		e = unknown
	}
	if !e.matches(secret) || !found {
		return Principal{}, errInvalid
	}
	return e.principal, nil
}

// reload reads the file again if it changed. One caller does it, the others go
// on with what there is.
func (s *KeySet) reload() {
	if s.file == "" || time.Since(time.Unix(0, s.checked.Load())) < recheck || !s.reading.TryLock() {
		return
	}
	defer s.reading.Unlock()
	s.checked.Store(time.Now().UnixNano())
	if version, err := config.FileVersion(s.file); err == nil && version == s.version {
		return
	}
	if err := s.read(); err != nil {
		s.log.Error("the key file cannot be read; the keys from before stay", "file", s.file, "error", err)
		return
	}
	s.log.Info("read the key file again", "file", s.file, "keys", len(*s.keys.Load()))
}

func (s *KeySet) read() error {
	s.checked.Store(time.Now().UnixNano())
	var stored []StoredKey
	if s.file != "" {
		version, err := config.FileVersion(s.file)
		if err != nil {
			return fmt.Errorf("key file: %w", err)
		}
		s.version = version
		if stored, err = readKeys(s.file); err != nil {
			return fmt.Errorf("key file %s: %w", s.file, err)
		}
	}
	keys := map[string]entry{}
	var problems []error
	for _, k := range stored {
		e, err := k.ready()
		switch {
		case err != nil:
			problems = append(problems, err)
		case s.environment != config.Development && isDevelopment(e):
			problems = append(problems, fmt.Errorf("key %q is a development key, which everybody knows", k.ID))
		case keys[k.ID].principal.KeyID != "":
			problems = append(problems, fmt.Errorf("key %q appears twice", k.ID))
		default:
			keys[k.ID] = e
		}
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("key file %s: %w", s.file, err)
	}
	if s.environment == config.Development {
		for _, k := range developmentKeys() {
			e, err := k.ready()
			if err != nil {
				return err
			}
			keys[k.ID] = e
		}
	}
	s.keys.Store(&keys)
	return nil
}

func readKeys(file string) ([]StoredKey, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var document struct {
		Keys []StoredKey `yaml:"keys"`
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(&document); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	// Nobody means to lock everybody out: this is a file cut short.
	if len(document.Keys) == 0 {
		return nil, errors.New("it has no keys")
	}
	if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("it has more than one YAML document")
	}
	return document.Keys, nil
}
