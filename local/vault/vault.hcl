# All that it holds goes with its pod.
storage "inmem" {}
listener "tcp" {
  address     = "0.0.0.0:8200"
  tls_disable = true
}
disable_mlock = true
api_addr      = "http://vault.vault.svc:8200"
