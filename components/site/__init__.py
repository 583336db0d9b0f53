"""What the place where a lab stands asks of its hosts: proxy, authority, mirrors."""
