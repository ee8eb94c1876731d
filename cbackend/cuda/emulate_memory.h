/* Emulated device memory: every allocation in pages of its own between guard pages, closed to host code
 * except during launches (opened at the first touch) and copies. */
#ifndef CB_EMULATE_MEMORY_H
#define CB_EMULATE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include <string>

enum { CB_EMULATED_SHARED = 227 << 10 }; /* bytes of shared memory a block can have, as on sm_90 */

void *cb_emulated_memory_new(size_t nbytes); /* NULL when the system refuses; filled with bytes of 255 */
void cb_emulated_memory_free(void *data);
/* opens and closes the allocation that data lies in; false: [data, data + nbytes) lies in none. Exported:
 * stand-ins for libraries that work on device memory use it (cuda/tests/nccl_stand_in.c). */
extern "C" __attribute__((visibility("default"))) bool cb_emulated_memory_open(const void *data,
                                                                               size_t nbytes, bool open);
void cb_emulated_memory_begin();      /* a launch begins: memory opens when touched */
std::string cb_emulated_memory_end(); /* it ends; in words what was overwritten behind allocations, or "" */
void cb_emulate_note(const std::string &what); /* a report */
std::string cb_emulate_take_error();  /* the first report since the last call, or "" */
#endif
