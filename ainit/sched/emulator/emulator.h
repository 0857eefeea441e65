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

#include "nvml.h"

enum { MAX_GPUS = 8, MAX_GPU_INSTANCES = 8, MAX_COMPUTE_INSTANCES = 8, MAX_STARTS = 8 };

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
    uint8_t board, mig_current, mig_pending;
    struct gpu_instance instances[MAX_GPU_INSTANCES];
};

struct machine {
    uint32_t gpu_count, last_serial;
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
/* Check the configuration and make sure that the state exists. */
nvmlReturn_t state_prepare(void);

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

/* Every exported call starts so: `s` is the session, closed on every return. */
#define OPEN_SESSION(change)                                                                       \
    __attribute__((cleanup(session_close))) struct session s = {.file = -1};                       \
    do {                                                                                           \
        nvmlReturn_t opened = is_initialized() ? session_open(&s, (change)) : NVML_ERROR_UNINITIALIZED; \
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
