/* How elementwise kernels divide their work: blocks of BLOCK threads, ITEMS items a thread. */
#ifndef CB_PACK_H
#define CB_PACK_H

namespace cb_each {

enum { BLOCK = 256, ITEMS = 4 /* of a thread */ };

/* the items of a thread, moved by 16-byte loads where they are that long */
template <typename S> struct alignas(sizeof(S) * ITEMS < 16 ? sizeof(S) * ITEMS : 16) pack {
    S item[ITEMS];
};

} // namespace cb_each
#endif
