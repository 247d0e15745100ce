package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"github.com/pipehook/pipehook/core/config"
)

// anotherThan says in what a configuration is for another account or store than the given ones; empty when it is not. What
// is not given fits.
func anotherThan(conf *config.Config, account, store string) string {
	if own := conf.Pipedrive.Address(); account != "" && own != "" && own != account {
		return fmt.Sprintf("its account is %s, not %s", own, account)
	}
	if own := storeName(conf); store != "" && own != store {
		return fmt.Sprintf("its store is %s, not %s", own, store)
	}
	return ""
}

// storeName is what tells a store from others, without a password: a file, or a database, whose host may have several names.
func storeName(conf *config.Config) string {
	file, sqlite := strings.CutPrefix(storeURL(conf), "sqlite:")
	if !sqlite {
		u, err := url.Parse(storeURL(conf))
		if err != nil {
			return ""
		}
		return "the database " + path.Base(u.Path)
	}
	if whole, err := filepath.Abs(file); err == nil {
		file = whole
	}
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real
	}
	return file
}

// errorText is what an answer of the admin API says of an error.
func errorText(body io.Reader) string {
	var answer struct {
		Error struct{ Message string }
	}
	if err := json.NewDecoder(io.LimitReader(body, 1<<16)).Decode(&answer); err != nil || answer.Error.Message == "" {
		return "it does not say what"
	}
	return plain(answer.Error.Message)
}
