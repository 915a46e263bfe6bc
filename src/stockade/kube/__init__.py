"""The Kubernetes API over HTTP: kubeconfig, client, reflector."""
