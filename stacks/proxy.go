package stacks

import (
	"os"
	"strings"

	"stackmeter/scenarios"
)

// Proxies are the operator's proxy settings, by the names of their environment
// variables in lower and upper case. Those that are empty are left out.
func Proxies() map[string]string {
	proxies := map[string]string{}
	for _, name := range []string{"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"} {
		for _, name := range []string{name, strings.ToUpper(name)} {
			if value := os.Getenv(name); value != "" {
				proxies[name] = value
			}
		}
	}
	return proxies
}

// ProxySecrets are what of Proxies no result may have: their credentials.
func ProxySecrets() []string {
	var secrets []string
	for _, address := range Proxies() {
		secrets = append(secrets, scenarios.Credentials(address)...)
	}
	return secrets
}
