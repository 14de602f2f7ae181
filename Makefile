# The two commands of the README: `make demo` and `make test`. Both do all the set-up they need. `make check` is for the time between.

CARGO ?= cargo

.PHONY: help setup test-setup build demo check test clients doctor-chains hostile-peers networks fuzz bench bench-core instructions figures package test-package release deny sbom msrv test-boot test-image clean

help:
	@echo "make demo     show the main job: a misbehaving backend, sidestream in front, what to try"
	@echo "make check    formatting, lints, and the tests that need no browser, no server, no npm and no pip"
	@echo "make test     run every test, the ones with real clients included"
	@echo "make build    build target/release/sidestream"
	@echo "make clients  write the table of what real clients do, docs/clients.md"
	@echo "make doctor-chains  let the doctor look at chains of other proxies, and do what it says"
	@echo "make hostile-peers  write what others do with broken bodies, the table of docs/security.md"
	@echo "make networks  measure peers that vanish, addresses that do not work and DNS that fails (as root)"
	@echo "make fuzz     run the fuzzers, SECONDS=600 each"
	@echo "make bench    compare with other proxies, side by side (needs a quiet machine, and 40 minutes)"
	@echo "make bench-core  time the event-stream core by itself"
	@echo "make instructions  count the instructions of an event and of a short stream, and compare"
	@echo "make package  build the Debian package, target/debian/*.deb"
	@echo "make test-package  build it, and install, run and purge it (as root)"
	@echo "make release VERSION=X.Y.Z  make all files of a release, with their checksums (RELEASING.md)"
	@echo "make msrv     build with the oldest Rust that Cargo.toml allows (needs rustup)"
	@echo "make test-boot  build it, and try it in a Debian that is booted with systemd (as root)"
	@echo "make test-image  build a container image, and run it in podman (as root)"
	@echo "make deny     check the dependencies: licences, duplicates, sources, advisories"
	@echo "make sbom     write what the program is made of, target/package/sidestream.cdx.json"
	@echo "make figures  measure disconnects, timers, slow and hostile clients, WebSockets, and the end of the process"

# System packages that the build needs and a fresh machine lacks.
setup:
	@scripts/install-packages cmake:cmake cc:gcc make:make

# What the tests with real clients and servers need on top of it. Without PHP they do without PHP.
test-setup: setup
	@scripts/install-packages curl:curl chromium:chromium prometheus:prometheus
	-@scripts/install-packages ip:iproute2
	-@scripts/install-packages nginx:nginx-light 'php-fpm*:php-fpm' haproxy:haproxy
	@scripts/python-venv .venv tests/clients/requirements.txt
	@scripts/python-venv .venv-openai-1 tests/clients/requirements-openai-1.txt
	@scripts/node-modules tests/clients
	@scripts/node-modules tests/doctor

build: setup
	$(CARGO) build --release --locked

demo: build
	target/release/sidestream demo

# The modules of tests/promises and the tests that run programs of `test-setup`. Their names are matched as parts of a test's name.
NEEDS_PROGRAMS = real_clients:: doctor_chains:: networks:: prometheus:: live_page:: browser_http2:: websockets::real_programs

# Nothing is installed but what the build needs, and curl, whose commands the demo prints. Most tests wait for something most of the
# time, so more of them than there are cores run at once.
check: setup
	@scripts/install-packages curl:curl
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) test --locked -- --test-threads $$((4 * $$(nproc))) $(addprefix --skip ,$(NEEDS_PROGRAMS))

test: test-setup
	$(CARGO) test --locked

# Writes the table of docs/clients.md anew, from what the clients do.
clients: test-setup
	$(CARGO) build --locked
	SIDESTREAM=target/debug/sidestream .venv/bin/python tests/clients/run.py --write

# What the doctor says of chains of nginx, HAProxy, Caddy, Envoy, Express and FastAPI, and what becomes of them when it is done;
# `ARGUMENTS=--write` writes the examples of docs/troubleshooting.md anew, `ARGUMENTS="--clean --rounds 50"` looks for false findings.
doctor-chains: test-setup build
	-@scripts/python-venv .venv-peers benches/peers/requirements.txt
	@scripts/python-venv .venv-starlette-0.45 tests/doctor/requirements-starlette-0.45.txt
	@CADDY=$(CURDIR)/.venv-peers/bin/caddy .venv/bin/python tests/doctor/chains.py $(ARGUMENTS)

# Writes the table of docs/security.md anew, from what the proxies do.
hostile-peers: setup
	@scripts/install-packages nginx:nginx-light haproxy:haproxy
	$(CARGO) test --locked --test promises hostile::table -- --ignored --nocapture

# Hosts of network namespaces, so this needs root; elsewhere it says so. Beside nginx, HAProxy and Caddy, as far as they can be
# installed. Both tables are printed, whatever the first says.
networks: build
	@scripts/install-packages ip:iproute2 setpriv:util-linux
	-@scripts/install-packages nginx:nginx-light haproxy:haproxy
	@scripts/python-venv .venv tests/clients/requirements.txt
	-@scripts/python-venv .venv-peers benches/peers/requirements.txt
	@CADDY=$(CURDIR)/.venv-peers/bin/caddy .venv/bin/python tests/network/run.py --binary target/release/sidestream --peers; \
	  peers=$$?; echo; .venv/bin/python tests/network/dns.py --binary target/release/sidestream && exit $$peers

# SECONDS: for each of the fuzzers.
fuzz: setup
	@scripts/install-packages c++:g++
	scripts/fuzz $(or $(SECONDS),600)

# Beside nginx, HAProxy, Caddy, Envoy and two bare relays. What cannot be installed is skipped.
bench: setup
	-@scripts/install-packages nginx:nginx-light haproxy:haproxy
	-@scripts/python-venv .venv-peers benches/peers/requirements.txt
	CADDY=$(CURDIR)/.venv-peers/bin/caddy ENVOY="$$(scripts/envoy)" REPORT=$(or $(REPORT),target/peers.json) \
	  $(CARGO) bench --locked --bench peers -- $(SCENARIOS)

bench-core: setup
	$(CARGO) bench --locked --bench session

# Fails if one has become more expensive than benches/instructions.json says; `WRITE=--write` makes that anew.
instructions: build
	@scripts/install-packages valgrind:valgrind
	python3 scripts/instructions.py target/release/sidestream benches/instructions.json $(WRITE)

# WebSockets are measured beside nginx; without it they are measured alone.
figures: setup
	-@scripts/install-packages nginx:nginx-light
	$(CARGO) bench --locked --bench figures

# A Debian package: the program, its units, its configuration, manual pages and completions.
package: build
	scripts/package

# Installs the package on this machine, so it is for machines that are thrown away.
test-package: package
	@scripts/install-packages lintian:lintian systemd-analyze:systemd unshare:util-linux man:man-db curl:curl
	scripts/test-package

release:
	scripts/release $(VERSION)

# The minimum supported Rust version, `rust-version` in Cargo.toml.
MSRV = $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

msrv: setup
	rustup toolchain install $(MSRV) --profile minimal
	$(CARGO) +$(MSRV) check --locked --all-targets

# In a container of systemd-nspawn. SUITE: another release of Debian than bookworm.
test-boot: package
	scripts/test-boot $(SUITE)

test-image: build
	scripts/test-image

deny:
	scripts/deny

sbom:
	scripts/sbom

clean:
	$(CARGO) clean
	rm -rf .venv .venv-openai-1 .venv-peers .venv-starlette-0.45 tests/clients/node_modules tests/doctor/node_modules fuzz/target
