# What people run. Every target calls one script of scripts/; `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help run test image shell bench-boot lint relock buildroot clean

help: ## this list
	@echo 'usage: make TARGET [NAME=VALUE]'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

run: ## build, boot in QEMU, attest, report (TAMPER=WHAT: with a fault; GPU=PCI_ADDRESS: with that GPU; KEEP=1: leave it running)
	@scripts/run $(if $(TAMPER),--tamper '$(TAMPER)') $(if $(GPU),--gpu '$(GPU)') $(if $(KEEP),--keep)

test: ## install what the tests need and run them all: lint, types, unit, contract, pidns, qemu
	@scripts/test

image: ## build build/image/ only (RELEASE=1: build/image-release/, without a shell)
	@scripts/image $(if $(RELEASE),--release)

shell: ## a console in the machine that runs now (development images only)
	@scripts/shell

bench-boot: ## measure the boot and write build/bench/bench-boot.json
	@scripts/bench-boot

lint: ## ruff, shellcheck and mypy
	@scripts/lint

relock: ## resolve the pinned Debian and Python packages anew
	@scripts/relock
	@scripts/relock-host

buildroot: ## build with Buildroot (BUILDROOT=PATH of its tree)
	@scripts/buildroot '$(BUILDROOT)'

clean: ## remove what was built, but neither downloads nor keys (ALL=1: those, too)
	@scripts/clean $(if $(ALL),--all)
