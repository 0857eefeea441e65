"""Every path, PCR number and limit that more than one module needs."""

from __future__ import annotations

# Paths on the verified root.
LIBRARY = "/usr/lib/ainos"
PLAN = LIBRARY + "/plan.json"
AGENTS = LIBRARY + "/agents"
DEFAULT_MACHINE = LIBRARY + "/machine.toml"
PUBLISHER_KEYS = LIBRARY + "/keys"
UPDATE_ROOT = LIBRARY + "/update/root.json"  # the first root of update metadata that is trusted

# The state partition: ext4 with the verity feature, on the disk that holds the root.
STATE = "/var/lib/ainos"
STATE_PARTITION = "state"
CONFIG = STATE + "/config"
MACHINE = CONFIG + "/machine.toml"
MODELS = STATE + "/models"

RESET = STATE + "/reset"  # the next boot wipes the state

QUARANTINE = STATE + "/quarantine"  # the evidence of each
QUARANTINE_HELD = QUARANTINE + "/held"  # a file for each agent that is in quarantine now
TIMERS = STATE + "/timers"
KEYLIME = STATE + "/keylime"
REMOTE = STATE + "/remote"
CHANNEL = REMOTE + "/channel.pem"  # certificate and key of the machine's end of TLS
AUTHORITY = STATE + "/identity/authority.pem"  # certificate and key of the agents' authority
OVERLAYS = STATE + "/sandbox"  # tighter sandboxes of agents
RECORDS = STATE + "/audit"  # what agents were seen to use
AUDITING = RECORDS + "/on"  # a file for each agent in audit mode
UPDATE = STATE + "/update"

# That partition in LUKS2: the mapping that it is mounted from.
MAPPING = "state"
MAPPED = f"/dev/mapper/{MAPPING}"
RECOVERY = STATE + "/seal/recovery-key"  # until its owner has fetched it

SMBIOS = "/sys/firmware/dmi/tables/DMI"  # what firmware or hypervisor say of the machine

# Runtime files.
RUNTIME = "/run/ainit"
CONTROL = RUNTIME + "/control"
SOCKETS = RUNTIME + "/sockets"
BUNDLES = RUNTIME + "/agents"
EXTENSIONS = RUNTIME + "/extensions"
CREDENTIALS = RUNTIME + "/credentials"
VERDICT = RUNTIME + "/verdict.json"  # what a verifier said of this machine last
IDENTITIES = RUNTIME + "/identity"  # certificates of agents, a directory for each
MODEL_DIRECTORIES = RUNTIME + "/models"  # of models that are several files
SANDBOX_ROOT = RUNTIME + "/root"  # where a sandbox, in its own view, makes what becomes its root
DISK = RUNTIME + "/disk"  # where a disk that was plugged in is mounted while models come from it
NOTIFY = RUNTIME + "/notify"
AUDIT = RUNTIME + "/audit"  # where the audit service is told whom to listen to
AUDITED = RUNTIME + "/audited"  # to whom it does, for the one that comes after a crash of it
EGRESS = RUNTIME + "/egress"  # where agents' sockets are handed over
ENFORCEMENT = "/sys/fs/bpf/ainos"
GROW = RUNTIME + "/grow"  # the device whose file system is smaller than it is
SEAL = RUNTIME + "/seal.json"  # how the sealed state was opened, or why not
MEASUREMENTS = RUNTIME + "/measurements.cel"
ADMITTED = RUNTIME + "/admitted.json"
DEVICES = RUNTIME + "/devices.json"  # which devices start which units
DEVICES_TOLD = RUNTIME + "/devices.told.json"  # which of them have done so
GPUS = RUNTIME + "/bus/gpus.json"  # which GPUs and NVSwitches are on the bus
MACHINE_JSON = RUNTIME + "/machine.json"
CONFIG_COPY = RUNTIME + "/config"  # the configuration in force, and the plan made of it
MACHINE_PLAN = RUNTIME + "/plan.json"
CONFIG_CANDIDATE = RUNTIME + "/config.candidate"
CANDIDATE_PLAN = RUNTIME + "/plan.candidate.json"
CONFIG_PREVIOUS = RUNTIME + "/config.previous"
PREVIOUS_PLAN = RUNTIME + "/plan.previous.json"
CGROUP_ROOT = "/sys/fs/cgroup"
SERVICE_SLICE = "ainos"

# PCR use (docs/adr/0003-pcr-use.md). 16 and 23 can be reset from software and prove nothing about
# the boot; 16 is used only where Keylime's protocol binds its data there.
PCR_MACHINE = 12
PCR_MODELS = 13
PCR_AGENTS = 14
PCR_IDENTITY = 15
PCR_KEYLIME = 16
TPM_DEVICE = "/dev/tpmrm0"

REMOTE_PORT = 7443

# Limits.
LOG_RING_BYTES = 256 * 1024
LOG_LINE_BYTES = 8 * 1024
MESSAGE_BYTES = 4 * 1024 * 1024
MESSAGE_BYTES_OTHERS = 256 * 1024  # from callers that are not the superuser
CLIENTS = 64
CLIENTS_RESERVED = 16  # of these, for the superuser
CLIENTS_AGENT = 8  # of these, that one agent may have
SHUTDOWN_SECONDS = 20.0
WATCHDOG_SECONDS = 60
STUCK_SECONDS = 30  # of processor time that one turn of PID 1's loop may take
FAULTS_IN_A_ROW = 20  # of PID 1, each less than a minute after the one before: then reboot
LISTEN_FD = 3
HANDED_DESCRIPTORS = 253  # in one message: SCM_MAX_FD of the kernel
HANDED_BYTES = 32 * 1024  # of the record with them; a socket holds several such messages
