"""What must hold on the host, and the way to it. Pure: nothing here touches the machine."""
