//! Holds a pod's namespaces open. The kubelet ends it with SIGKILL.

fn main() {
    loop {
        std::thread::park();
    }
}
