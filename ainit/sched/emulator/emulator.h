/* Inside the emulator: the boards it can be, the state that all processes share, handles.
 *
 * The state plays the part of the driver and of the hardware behind it. It lies in one small file,
 * and a machine whose file is gone has rebooted: no instance is left, handles are dead.
 */
#ifndef EMULATOR_H
#define EMULATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "nvml.h"

enum { MAX_GPUS = 8, MAX_GPU_INSTANCES = 8, MAX_COMPUTE_INSTANCES = 8, MAX_STARTS = 8, MAX_FAULTS = 32 };

/* ---- geometry: compiled from boards.json into boards.h ---- */

struct compute_profile {
    unsigned id, compute, limit, start_count;
    unsigned char starts[MAX_STARTS];
};

struct profile {
    const char *name;
    unsigned enumerator, id, compute, memory, limit, start_count;
    unsigned char starts[MAX_STARTS];
    unsigned memory_mib, sms, copy, decoder, encoder, jpeg, ofa;
    unsigned compute_profile_count;
    struct compute_profile compute_profiles[5];
};

struct board {
    const char *name, *product;
    unsigned pci_device_id, architecture, memory_mib, power_w, memory_slices;
    bool reset_for_mig; /* switching MIG resets the board (before Hopper) */
    unsigned profile_count;
    struct profile profiles[8];
};

extern const struct board BOARDS[];
extern const unsigned BOARD_COUNT;
extern const uint32_t GEOMETRY; /* checksum of the compiled geometry */

/* ---- state ---- */

struct compute_instance {
    uint32_t serial; /* 0: this slot is free; never used twice */
    uint8_t profile, start;
};

struct gpu_instance {
    uint32_t serial;
    uint8_t profile, start; /* index into the board's profiles; first memory slice */
    struct compute_instance compute[MAX_COMPUTE_INSTANCES];
};

struct gpu {
    uint8_t board, mig_current, mig_pending, persistence;
    uint8_t lost;        /* fell off the bus, until a reset */
    uint8_t ghosts;      /* memory slices that are given to nobody */
    uint8_t resets;      /* asked for by directive */
    uint32_t generation; /* of its handles: a reset makes them dead */
    struct gpu_instance instances[MAX_GPU_INSTANCES];
};

struct machine {
    uint32_t gpu_count, last_serial;
    uint32_t reloads, reloads_done; /* of the driver; those of them by directive */
    uint8_t spent[MAX_FAULTS];      /* how often each injected fault has happened */
    struct gpu gpus[MAX_GPUS];
};

/* One call's view of the machine, locked against all other processes and threads. */
struct session {
    struct machine *machine;
    int file;
    void *mapping;
    struct machine next; /* what session_commit publishes */
};

/* Lock and map the state; `change` asks for the right to alter it (NO_PERMISSION without). */
nvmlReturn_t session_open(struct session *session, bool change);
/* Publish session->machine; a process that dies before leaves the state as it was. */
void session_commit(struct session *session);
void session_close(struct session *session);
/* Check the configuration, make sure that the state exists; *reloads is how often the driver was
 * loaded anew.
 */
nvmlReturn_t state_prepare(uint32_t *reloads);

/* ---- handles: all they name is packed into the pointer, so none is ever freed ---- */

enum handle_kind { HANDLE_GPU = 1, HANDLE_MIG, HANDLE_GPU_INSTANCE, HANDLE_COMPUTE_INSTANCE };

struct target {
    unsigned index; /* of the GPU */
    const struct board *board;
    struct gpu *gpu;
    struct gpu_instance *instance; /* NULL for a whole GPU */
    unsigned instance_id;
    const struct profile *profile;
    struct compute_instance *compute; /* NULL unless a MIG device or a compute instance */
    unsigned compute_id;
    const struct compute_profile *compute_profile;
};

void *handle_of(enum handle_kind kind, const struct target *target);
/* Resolve a handle, or INVALID_ARGUMENT when it is foreign or what it named is gone. */
nvmlReturn_t resolve(struct session *session, const void *handle, enum handle_kind kind,
                     struct target *target);
/* Either a whole GPU or a MIG device. */
nvmlReturn_t resolve_device(struct session *session, nvmlDevice_t device, struct target *target);
struct target target_of_gpu(struct session *session, unsigned index);
void target_enter_instance(struct target *target, unsigned slot);
void target_enter_compute(struct target *target, unsigned slot);
/* The `index`th MIG device of a GPU, counted over its compute instances; false when there is none. */
bool target_find_mig_device(struct target *target, unsigned index);

/* ---- shared by the parts ---- */

#define DEFAULT_STATE "/run/nvml-emulator/state"

bool is_initialized(void);
nvmlReturn_t copy_text(char *out, unsigned length, const char *text);
void format_uuid(char out[64], const struct target *target);

struct process {
    unsigned gpu, instance, compute, pid;
    unsigned long long bytes;
};
enum { MAX_PROCESSES = 64 };
/* Processes on the GPU instance (or on one compute instance of it), from the injection file. */
unsigned processes_of(const struct target *target, struct process found[MAX_PROCESSES]);
/* Whether the injection file holds the line `word`. */
bool is_injected(const char *word);
/* Whether the GPU has fallen off the bus. */
bool is_lost(const struct session *session, unsigned gpu);
/* The number in the last line `set <gpu> <key> <number>`, or the fallback. */
unsigned long long injected_reading(unsigned gpu, const char *key, unsigned long long fallback);
/* The injection file (or another one beside the state) for reading; NULL when there is none. */
FILE *open_beside_state(const char *suffix);
/* Bytes of GPU memory in use by processes on the target, and whether there is any work there. */
unsigned long long used_bytes(const struct target *target);

/* ---- trouble.c ---- */

/* Wait for as long as the injection file says that calls about this GPU hang. */
void hang_if_asked(unsigned gpu);
nvmlReturn_t hang_device_if_asked(nvmlDevice_t device);

/* ---- profile.c ---- */

unsigned mask_of(const struct profile *profile, unsigned start);
/* The memory slices of the GPU that nothing can be placed on. */
unsigned occupied_slices(const struct target *gpu);
unsigned live_count(const struct target *gpu, unsigned profile);
/* The index of the profile with that id, or INVALID_ARGUMENT. */
nvmlReturn_t gpu_profile_by_id(const struct target *gpu, unsigned id, unsigned *index);

/* ---- faults.c ---- */

enum fault {
    FAULT_NONE, FAULT_REFUSE, FAULT_LATE, FAULT_NOTHING, FAULT_GHOST, FAULT_ELSEWHERE, FAULT_OTHER,
    FAULT_LOSE, FAULT_RESET, FAULT_RELOAD, FAULT_DIE_BEFORE, FAULT_DIE_AFTER,
};

/* The fault that this call has, counted as spent: whatever happens must be committed. */
enum fault take_fault(struct session *session, const char *call);
/* Do what a fault does instead of the call, commit, and return its error; SUCCESS to go on. */
nvmlReturn_t fault_before(struct session *session, const struct target *target, enum fault fault,
                          nvmlReturn_t refusal);
/* What a fault makes of a call that is done and committed. */
nvmlReturn_t fault_after(enum fault fault);
void reset_gpu(struct session *session, unsigned index);
bool apply_directives(struct session *session);
void pause_for(bool is_creation, unsigned memory);
/* How often the driver had been loaded when this process started NVML. */
uint32_t reloads_at_start(void);
/* The MIG modes that boards before Hopper keep over a reboot. */
void remember_modes(const struct machine *machine);

/* Every exported call starts so: `s` is the session, closed on every return. */
#define OPEN_SESSION(change)                                                                       \
    __attribute__((cleanup(session_close))) struct session s = {.file = -1};                       \
    do {                                                                                           \
        nvmlReturn_t opened = is_initialized() ? session_open(&s, (change)) : NVML_ERROR_UNINITIALIZED; \
        if (opened == NVML_SUCCESS && s.machine->reloads != reloads_at_start())                    \
            opened = NVML_ERROR_UNINITIALIZED;                                                     \
        if (opened != NVML_SUCCESS)                                                                \
            return opened;                                                                         \
    } while (0)

#define TRY(call)                                                                                  \
    do {                                                                                           \
        nvmlReturn_t result = (call);                                                              \
        if (result != NVML_SUCCESS)                                                                \
            return result;                                                                         \
    } while (0)

#define REQUIRE(condition, code)                                                                   \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return (code);                                                                         \
    } while (0)

#endif
