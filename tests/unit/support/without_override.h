// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <stdexcept>

namespace byre::test {

// Within its scope, the thread has no rights to files beyond their permission bits, even if it is
// root's. If it is not, nothing changes.
class WithoutOverride {
 public:
  WithoutOverride() {
    if (syscall(SYS_capget, &header_, before_) != 0) throw std::runtime_error("capget");
    __user_cap_data_struct fewer[_LINUX_CAPABILITY_U32S_3] = {before_[0], before_[1]};
    fewer[0].effective &= ~((1u << CAP_DAC_OVERRIDE) | (1u << CAP_DAC_READ_SEARCH));
    set(fewer);
  }
  ~WithoutOverride() { syscall(SYS_capset, &header_, before_); }
  WithoutOverride(const WithoutOverride&) = delete;
  WithoutOverride& operator=(const WithoutOverride&) = delete;

 private:
  void set(const __user_cap_data_struct* data) {
    if (syscall(SYS_capset, &header_, data) != 0) throw std::runtime_error("capset");
  }

  __user_cap_header_struct header_{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct before_[_LINUX_CAPABILITY_U32S_3]{};
};

}  // namespace byre::test
