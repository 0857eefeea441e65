/* Events: Xid errors, ECC errors and the like, which a client registers for and waits for.
 *
 * They come from the file `<state>.events`, which whoever injects one appends a line to:
 *   <gpu> <type> <data> <gpu instance> <compute instance>
 * with type a bit of NVML's (1 corrected ECC, 2 uncorrected ECC, 8 Xid, whose number is data), and
 * 4294967295 for no instance. A set sees the lines that come after its registration, once each, as
 * a driver loses what nobody had asked for.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "emulator.h"

enum { MAX_SETS = 16, EVENT_MARK = 0x4e45 };
static const unsigned long long SUPPORTED = 0x1 | 0x2 | 0x8 | 0x10; /* ECC, ECC, Xid, clocks */
static const long POLL_NS = 5000000;

struct event_set {
    atomic_bool taken;
    unsigned long long types[MAX_GPUS];
    long offset; /* in the file: what was seen */
};

static struct event_set sets[MAX_SETS];

static struct event_set *set_of(nvmlEventSet_t handle)
{
    uintptr_t bits = (uintptr_t)handle;
    bool good = bits >> 16 == EVENT_MARK && (bits & 0xffff) < MAX_SETS;
    struct event_set *set = good ? &sets[bits & 0xffff] : NULL;
    return set && atomic_load(&set->taken) ? set : NULL;
}

static long end_of_events(void)
{
    FILE *file = open_beside_state("events");
    long end = 0;
    if (file) {
        if (fseek(file, 0, SEEK_END) == 0 && (end = ftell(file)) < 0)
            end = 0;
        fclose(file);
    }
    return end;
}

NVML_API nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device,
                                                       unsigned long long *types)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve(&s, device, HANDLE_GPU, &target));
    REQUIRE(types, NVML_ERROR_INVALID_ARGUMENT);
    *types = SUPPORTED;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *out)
{
    REQUIRE(is_initialized(), NVML_ERROR_UNINITIALIZED);
    REQUIRE(out, NVML_ERROR_INVALID_ARGUMENT);
    for (unsigned index = 0; index < MAX_SETS; index++) {
        bool expected = false;
        if (!atomic_compare_exchange_strong(&sets[index].taken, &expected, true))
            continue;
        memset(sets[index].types, 0, sizeof sets[index].types);
        sets[index].offset = end_of_events();
        *out = (nvmlEventSet_t)((uintptr_t)EVENT_MARK << 16 | index);
        return NVML_SUCCESS;
    }
    return NVML_ERROR_INSUFFICIENT_RESOURCES;
}

NVML_API nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t handle)
{
    REQUIRE(is_initialized(), NVML_ERROR_UNINITIALIZED);
    struct event_set *set = set_of(handle);
    REQUIRE(set, NVML_ERROR_INVALID_ARGUMENT);
    atomic_store(&set->taken, false);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types,
                                               nvmlEventSet_t handle)
{
    OPEN_SESSION(false);
    struct target target;
    struct event_set *set = set_of(handle);
    TRY(resolve(&s, device, HANDLE_GPU, &target));
    REQUIRE(set, NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(!(types & ~SUPPORTED), NVML_ERROR_NOT_SUPPORTED);
    set->types[target.index] |= types;
    return NVML_SUCCESS;
}

/* The next event that the set wants, if there is one. */
static bool next_event(struct event_set *set, unsigned *gpu, nvmlEventData_t *data)
{
    FILE *file = open_beside_state("events");
    char line[256];
    bool found = false;
    if (!file)
        return false;
    if (fseek(file, set->offset, SEEK_SET) == 0)
        while (!found && fgets(line, sizeof line, file) && strchr(line, '\n')) {
            set->offset = ftell(file);
            found = sscanf(line, "%u %llu %llu %u %u", gpu, &data->eventType, &data->eventData,
                           &data->gpuInstanceId, &data->computeInstanceId) == 5 &&
                    *gpu < MAX_GPUS && set->types[*gpu] & data->eventType;
        }
    fclose(file);
    return found;
}

static long long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000ll + now.tv_nsec / 1000000;
}

NVML_API nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t handle, nvmlEventData_t *out,
                                          unsigned timeout_ms)
{
    const struct timespec pause = {.tv_nsec = POLL_NS};
    long long end = now_ms() + timeout_ms;
    struct event_set *set = set_of(handle);
    unsigned gpu = 0;
    REQUIRE(is_initialized(), NVML_ERROR_UNINITIALIZED);
    REQUIRE(set && out, NVML_ERROR_INVALID_ARGUMENT);
    while (!next_event(set, &gpu, out)) {
        REQUIRE(is_initialized(), NVML_ERROR_UNINITIALIZED);
        REQUIRE(now_ms() < end, NVML_ERROR_TIMEOUT);
        nanosleep(&pause, NULL);
    }
    OPEN_SESSION(false);
    REQUIRE(gpu < s.machine->gpu_count, NVML_ERROR_UNKNOWN);
    struct target target = target_of_gpu(&s, gpu);
    out->device = handle_of(HANDLE_GPU, &target);
    return NVML_SUCCESS;
}
