# What people run. Every target calls one script of scripts/; `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help run test test-image image flash release extension shell bench-boot bench-image bench-gpu bench-sandbox bench-sched bench-supervisor bench-trust bench-update soak-supervisor soak-trust train lint
.PHONY: fuzz relock buildroot buildroot-check buildroot-licences buildroot-cve clean

# Make hands what is set on its command line on in the environment: scripts/test reads BUILDROOT there.

# What an image is for: VARIANT=base|server|nvidia, ARCH=x86_64|aarch64.
# EXTENSIONS="cuda torch" go with the variant nvidia. AGENTS=DIR adds agents of your own.
target = $(if $(VARIANT),--variant '$(VARIANT)') $(if $(ARCH),--arch '$(ARCH)') $(EXTENSIONS:%=--extension=%) $(if $(AGENTS),--agents '$(AGENTS)')
board = --board '$(or $(BOARD),qemu)' $(if $(SETTINGS),--settings '$(SETTINGS)') $(if $(RELEASE),--release)

help: ## this list
	@echo 'usage: make TARGET [NAME=VALUE]'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 23

run: ## build, boot in QEMU, attest, report (VARIANT, ARCH; AGENTS=DIR: with your agents; STICK=FILE: with that USB disk; TAMPER=WHAT: with a fault; GPU=PCI_ADDRESS: with that GPU; KEEP=1: leave it running)
	@scripts/run $(target) $(if $(TAMPER),--tamper '$(TAMPER)') $(if $(GPU),--gpu '$(GPU)') $(if $(STICK),--stick '$(STICK)') $(if $(KEEP),--keep)

test: ## install what the tests need and run them all: lint, types, unit, contract, pidns, qemu (BUILDROOT=PATH: its configuration, too)
	@scripts/test

test-image: ## build the image of a VARIANT and ARCH and run the qemu tests on it
	@scripts/test --image '$(VARIANT)' '$(ARCH)'

image: ## build build/image/ only (VARIANT=server|nvidia, ARCH=aarch64; RELEASE=1: without a shell; EXTENSIONS="cuda torch"; AGENTS=DIR: with your agents)
	@scripts/image $(target) $(if $(RELEASE),--release)

flash: ## write the image to the disk TARGET=/dev/sdX, or list the disks (VARIANT, ARCH, RELEASE, EXTENSIONS, or IMAGE=DIR; CONFIG=machine.toml; YES=MODEL: do not ask)
	@scripts/flash --image '$(or $(IMAGE),$(shell scripts/image $(target) $(if $(RELEASE),--release) --where))' $(if $(TARGET),--target '$(TARGET)') $(if $(YES),--yes '$(YES)') $(if $(CONFIG),--config '$(CONFIG)')

release: ## publish a release of what `make image RELEASE=1` made, with development keys (VERSION=1.2.0; CHANNEL=edge|beta|stable; VARIANT, ARCH)
	@made=$$(scripts/release build '$(VERSION)' $(target)) && scripts/release publish --channel '$(or $(CHANNEL),edge)' "$$made"

extension: ## build the extension NAME=cuda|torch of the nvidia variant, signed
	@scripts/extension '$(NAME)'

shell: ## a console in the machine that runs now (development images only)
	@scripts/shell

bench-boot: ## measure the boot and write build/bench/bench-boot.json
	@scripts/bench-boot

bench-image: ## measure the images and write build/bench/bench-image.json (ONLY=base,aarch64,server,nvidia,buildroot; BUILDROOT_IMAGE=DIR)
	@scripts/bench-image $(if $(ONLY),--only '$(ONLY)') $(if $(BUILDROOT_IMAGE),--buildroot '$(BUILDROOT_IMAGE)')

bench-gpu: ## kill the GPU service at every step of every change, on fake and emulated GPUs (JOBS=2, THIN=10)
	@scripts/bench-gpu $(if $(JOBS),--jobs '$(JOBS)') $(if $(THIN),--thin '$(THIN)')

bench-sandbox: ## measure the sandbox beside bubblewrap, systemd's options and gVisor (ROUNDS=15, ONLY=probes,denials,mechanisms,calls,fuzz,starts,ready,inference)
	@scripts/bench-sandbox $(if $(ROUNDS),--rounds '$(ROUNDS)') $(if $(ONLY),--only '$(ONLY)')

bench-supervisor: ## measure ainit beside systemd, s6, runit, finit and supervisord (ROUNDS=9, ONLY=ainit,systemd)
	@scripts/bench-supervisor $(if $(ROUNDS),--rounds '$(ROUNDS)') $(if $(ONLY),--only '$(ONLY)'); \
	status=$$?; $(if $(ONLY),,scripts/bench-boot --peers &&) exit $$status

soak-supervisor: ## long tests of PID 1: faults at every line (MINUTES=60, FAULTS=10000, RESUME=1; STAGES="faults syscalls endurance mutants hostile")
	@scripts/soak-supervisor $(if $(MINUTES),--minutes '$(MINUTES)') $(if $(FAULTS),--faults '$(FAULTS)') $(if $(RESUME),--resume) $(STAGES)

bench-trust: ## attacks that are withstood, honest machines that are accepted
	@scripts/bench-trust

bench-update: ## cut the power at every write of an update, judge and boot what is left; TUF's conformance suite; transfers (ONLY=cuts,mutants,boots,tuf,delta; MINUTES=120; PEERS=DIR)
	@scripts/bench-update $(if $(ONLY),--only '$(ONLY)') $(if $(MINUTES),--minutes '$(MINUTES)') $(if $(PEERS),--peers '$(PEERS)')

train: ## train the GPU scheduling policy in simulation (MINUTES=50; TRACES=DIRECTORY: with the jobs of those traces; FRESH=1)
	@scripts/train $(if $(MINUTES),--minutes '$(MINUTES)') $(if $(FRESH),--fresh)

bench-sched: ## compare the GPU scheduler with rules, partitions and an optimum, simulated (TRACES=DIRECTORY; DECISIONS=1000000)
	@scripts/bench-sched $(if $(DECISIONS),--decisions '$(DECISIONS)')

soak-trust: ## long tests of trust: damaged models, changed evidence (MINUTES=60, MUTATIONS=2000000, CORRUPTIONS=10000; STAGES="corruption mutations")
	@scripts/soak-trust $(if $(MINUTES),--minutes '$(MINUTES)') $(if $(MUTATIONS),--mutations '$(MUTATIONS)') $(if $(CORRUPTIONS),--corruptions '$(CORRUPTIONS)') $(STAGES)

fuzz: ## fuzz PID 1's parsers and sockets for MINUTES=10, guided by coverage (TARGETS='ring inbox')
	@scripts/fuzz $(if $(MINUTES),--minutes '$(MINUTES)') $(TARGETS)

lint: ## ruff, shellcheck and mypy
	@scripts/lint

relock: ## resolve the pinned Debian and Python packages anew
	@scripts/relock
	@scripts/relock-host

buildroot: ## build with Buildroot (BUILDROOT=PATH of its tree; BOARD=qemu|qemu-aarch64|server|server-nvidia; SETTINGS=FILE; RELEASE=1)
	@scripts/buildroot $(board) '$(BUILDROOT)'

buildroot-check: ## check the configuration of every board, without compiling (BUILDROOT=PATH)
	@scripts/test buildroot

buildroot-licences: ## collect the licences and sources of a BOARD (BUILDROOT=PATH)
	@scripts/buildroot $(board) '$(BUILDROOT)' legal-info

buildroot-cve: ## report versions, CPE names and known CVEs of a BOARD (BUILDROOT=PATH)
	@scripts/buildroot $(board) '$(BUILDROOT)' pkg-stats

clean: ## remove what was built, but neither downloads nor keys (ALL=1: those, too)
	@scripts/clean $(if $(ALL),--all)
