package pipedrive

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/pipehook/pipehook/core"
)

// sealedForm begins what is sealed, so that another form can follow it.
const sealedForm = "pipehook-sealed-1."

// sealer keeps text unreadable at rest with AES-256-GCM. Its key is derived from an app's client secret:
// who changes that must connect again.
type sealer struct{ aead cipher.AEAD }

// newSealer makes one for what is sealed for one purpose; what another purpose sealed it does not open.
func newSealer(secret core.Secret, purpose string) (*sealer, error) {
	if secret == "" {
		return nil, errors.New("pipedrive: tokens can't be sealed without a client secret: set pipedrive.oauth.client_secret")
	}
	key, err := hkdf.Key(sha256.New, []byte(string(secret)), nil, "pipehook "+purpose, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &sealer{aead}, nil
}

// seal is plain as text that only the same secret opens.
func (s *sealer) seal(plain []byte) []byte {
	sealed := s.aead.Seal(nil, nil, plain, []byte(sealedForm))
	return []byte(sealedForm + base64.RawURLEncoding.EncodeToString(sealed))
}

// open is what was sealed. It fails when the secret is another one or the text was changed.
func (s *sealer) open(text []byte) ([]byte, error) {
	body, ok := strings.CutPrefix(string(text), sealedForm)
	if !ok {
		return nil, errors.New("the tokens are kept in a form that this pipehook does not know")
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err == nil {
		var plain []byte
		if plain, err = s.aead.Open(nil, nil, sealed, []byte(sealedForm)); err == nil {
			return plain, nil
		}
	}
	return nil, errors.New("the tokens do not open: the client secret is another one, or they were changed")
}
